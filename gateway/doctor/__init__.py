"""`comfy-gateway doctor`: what is wrong with a pool, in plain words. It asks and looks; it changes nothing."""
