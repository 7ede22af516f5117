"""A GPT of nanochat's family. `scaling` counts its parameters without building it; `gpt` and `optimizer` need torch."""
