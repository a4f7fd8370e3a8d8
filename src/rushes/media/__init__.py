"""Video and images: read, resize, write, lay out side by side. Nothing here imports torch."""
