"""LightningModules with their losses."""
