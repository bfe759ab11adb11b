"""What docs/clusters.md shows of sweeps is what the program reads."""

import re
from pathlib import Path

from salt.sweeps import space
from salt.sweeps.plan import checked, read_space

DOCS = Path(__file__).parent.parent.parent / "docs" / "clusters.md"


def test_the_space_that_the_docs_show_is_one(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.S)
    file = tmp_path / "space.yaml"
    file.write_text(block)
    content = read_space(file)
    checked({**content, "direction": "min", "seed": 42}, str(file))
    names = [parameter.key for parameter in space.read(content["parameters"], str(file))]
    assert names == ["model.lrs_config.max", "data.batch_size"]
