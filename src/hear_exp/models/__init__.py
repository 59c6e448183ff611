"""Our own encoders, each a module that keeps the HEAR common API and so loads in other HEAR tools too."""
