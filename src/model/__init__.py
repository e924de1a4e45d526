"""Networks, the LightningModule that trains them, and schedules. Usable without Hydra, from a notebook or a script."""
