"""Records -> front: which points are best, how sure that is, how fronts compare, what they look like.

`front` reads a study's front from its store, `pick` chooses a point, `statistics` has the intervals and tests,
`compare` sets fronts side by side, `hyperparameters` finds the best settings, `figures` draws, `report` writes the
page. Nothing here loads torch, ray or mlflow. Import from the rooms; this file imports nothing.
"""
