"""YAML as files have it: the parser's own reading of it, and a name of an anchor may be given again."""

from __future__ import annotations

from typing import Any

import yaml
from jsonargparse._loaders_dumpers import get_yaml_default_loader


class Document(yaml.SafeLoader):
    """Reads 1e-7 as a number, as jsonargparse does; of two anchors of one name the last before an alias is meant.

    YAML 1.2, section 3.2.2.2, has it so; PyYAML takes a second one for an error.
    """

    yaml_implicit_resolvers = get_yaml_default_loader().yaml_implicit_resolvers

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node, which may take an anchor from one before."""
        if not self.check_event(yaml.AliasEvent):
            self.anchors.pop(self.peek_event().anchor, None)
        return super().compose_node(parent, index)


def document(text: str) -> Any:
    """What a YAML file says."""
    return yaml.load(text, Document)
