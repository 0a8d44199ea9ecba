"""The folder of all studies: specs, records, and one table of points per study."""

from pipeline.store.store import Outbox, Spent, Store, load_record, save_record

__all__ = ["Outbox", "Spent", "Store", "load_record", "save_record"]
