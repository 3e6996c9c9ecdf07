"""What `check` looks at: one subject a module, each giving findings. Nothing is changed by any of them."""
