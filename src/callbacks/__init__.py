"""What watches a training. Each is one class here and one entry in conf/callbacks/."""
