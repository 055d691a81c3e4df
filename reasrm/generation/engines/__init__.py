"""What can run a model folder or hub id, one file each: a class `Engine`, a backend opened with the model's name.

The file's name is what `backend` says; nothing is imported before it is said.
"""
