"""Statistics over trials. Nothing here trains, or needs torch."""
