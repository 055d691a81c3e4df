"""Rubrics by contrast: authors write them, code checks them, another judge verifies them, files and a ledger come out.

An *author* may know which response won and makes training data; a *writer* never knows it and is what judging uses.
"""
