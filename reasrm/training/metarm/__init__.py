"""The cold start of a MetaRM, and scores of critiques by one."""
