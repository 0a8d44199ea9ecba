"""What a search will cost, before it is launched: from an earlier study, or from one short trial."""

from pipeline.driver.plan.planning import plan
from pipeline.driver.plan.pricing import Number, Price

__all__ = ["Number", "Price", "plan"]
