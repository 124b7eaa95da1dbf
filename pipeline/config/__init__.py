"""params.yaml as frozen, validated settings. Entry: `params.load`."""
