"""What every section of the YAML is: a mapping whose keys are known."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the YAML: keys that are not known are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)
