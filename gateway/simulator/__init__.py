"""A simulated ComfyUI runner, for the tests, the demo and the benchmarks. It needs no GPU, no model and no ComfyUI."""

from gateway.simulator.faults import Faults
from gateway.simulator.nodes import NodeClass, extra_node
from gateway.simulator.options import SimulatorOptions
from gateway.simulator.server import Simulator, run

__all__ = ["Faults", "NodeClass", "Simulator", "SimulatorOptions", "extra_node", "run"]
