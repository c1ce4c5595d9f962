"""The benchmarks, one module each: `measure` takes a stage and tells what it found."""
