"""Jobs on clusters: what a job needs, in what environment it runs, and how a scheduler is told."""
