"""The MetaRM: a regression model that predicts the process reward of a critique where no human wrote one."""
