"""The store: rows in SQLite, media by content hash, latents in safetensors, and the formats that go in and out."""
