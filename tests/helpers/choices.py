"""What the tests of test_choices.py share."""

# Ten steps of a small network.
TEN = ["data.train_size=320", "data.batch_size=32", "data.val_size=100", "trainer.max_epochs=1", "model.hidden=[8]"]
