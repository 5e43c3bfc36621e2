"""Records and pages that the tests of the gallery share."""

import dataclasses
import html.parser

from jaxvision.report.judgement import Judgement
from jaxvision.report.record import Record

EVIL = "<script>alert(1)</script> \"'><img src=x onerror=alert(1)> | `a` $x$ [b](http://c) *d* & é"


@dataclasses.dataclass(frozen=True)
class Listed:
    name: str
    theme: str = "initialization"
    title: str = "He against Xavier"
    sentence: str = "He learns faster."
    claims: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()


CATALOG = (Listed("he_init"), Listed("unrun", "depth", "No record"))


MEASURED = dict(estimate=1.5, low=1.0, high=2.0, n=5, p=0.01, p_adjusted=0.02)
RULE = {"kind": "greater", "than": 0.5, "min_seeds": 5, "resolution": 0.0}


def make(name="he_init", text="He learns faster.", **fields):
    judgements = [
        Judgement(id, text, text, "direction", text, verdict, note=text, criterion=RULE, **numbers)
        for id, verdict, numbers in (
            (
                "a",
                "reproduced",
                MEASURED,
            ),
            ("b", "contradicted", dict(estimate=0.2, low=0.0, high=0.6, n=5)),
            ("c d", "inconclusive", dict(estimate=float("nan"), low=float("nan"), high=2.0, n=5)),
            ("é", "not run", {}),
        )
    ]
    provenance = {"commit": text, "device": text, "started": text, "wall_time_s": 12.3}
    digits = {"name": text, "version": "", "label": "", "digest": "ab", "train": 1437, "test": 360}
    provenance["data"] = [digits]
    fields = {"experiment": name, "command": f"python -m {text}"} | fields
    return Record(
        preset=text,
        run_name=name,
        config={"seeds": 5},
        numbers={},
        arrays={},
        claims=[judgement.to_dict() for judgement in judgements],
        provenance=provenance,
        **fields,
    )


class Page(html.parser.HTMLParser):
    """Collects tags, links, ids and text; checks that tags are closed in order, ids unique."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self.open, self.text = [], [], set(), [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.links += [value for name, value in attributes if name in ("href", "src")]
        for name, value in attributes:
            if name == "id":
                assert value not in self.ids
                self.ids.add(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]
