"""Judging: a judge, its orders and votes, a row's result, a whole file, and a judge as a reward."""
