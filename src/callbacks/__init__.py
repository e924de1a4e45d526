"""Lightning callbacks. Each is one class here and one entry in conf/callbacks/."""
