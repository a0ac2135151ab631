"""n interleaved trials per recipe: jobs, the executors that train them, run folders, and what people see meanwhile."""
