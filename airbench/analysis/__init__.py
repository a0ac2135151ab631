"""Statistics, comparisons and reports of finished trials. Nothing here trains or imports torch."""
