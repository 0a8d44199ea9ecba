"""Methods side by side on real tasks: the same targets, epochs, trials and seeds; scored on test rows."""
