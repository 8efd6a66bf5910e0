"""Load models, name presets, export routes as checkpoints."""
