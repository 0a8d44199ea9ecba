"""The price of a search before it is launched: from an earlier study, or from short trials."""

from pipeline.driver.plan.planning import plan
from pipeline.driver.plan.pricing import Number, Price

__all__ = ["Number", "Price", "plan"]
