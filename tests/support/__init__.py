"""What several kinds of tests share: pools of simulated runners behind a gateway, graphs, and a client."""
