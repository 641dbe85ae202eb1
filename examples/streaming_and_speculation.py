"""What the software of a driving model buys on one chip: streaming, speculation and fewer integration steps.

Alpamayo 1.5 looks at 16 images, four cameras at four moments, of which twelve were there in the frame before. Its
language model thinks in about twenty tokens, and its action expert integrates in ten steps. The acceptance of drafts
and the shorter integration are assumptions to be varied, not measurements.
"""

from simulator import Workload, load_workload, run

CHIP, PRECISION = "thor-t5000", {"prefill": "nvfp4", "decode": "nvfp4"}
DRAFT = {"draft_tokens": 4, "draft_vocabulary": 32_000, "source": "assumption", "status": "assumed"}


def with_phases(workload: Workload, **changes: dict[str, object]) -> Workload:
    """The workload with fields of its phases replaced."""
    names = [phase.name for phase in workload.pipeline]
    values = {f"pipeline.{names.index(phase)}.{field}": value
              for phase, fields in changes.items() for field, value in fields.items()}  # fmt: skip
    return workload.with_values(values)


def main() -> None:
    """Prints one row per step from the plain model to all three."""
    plain = load_workload("alpamayo-1.5-10b")
    vision, prefill, *_ = plain.pipeline
    images, tokens = vision.images, prefill.tokens  # type: ignore[union-attr]
    seen = 12 * 180  # visual tokens of twelve images
    streaming = {"vision": {"images": images // 4}, "prefill": {"reused_tokens": seen}}
    variants: dict[str, dict[str, dict[str, object]]] = {"plain": {}, "streaming": streaming}
    for acceptance in (0.5, 0.7, 0.9):
        drafts = {"decode": {"speculation": {**DRAFT, "acceptance": acceptance}}}
        variants[f"+ drafts, {acceptance:.0%} right"] = {**streaming, **drafts}
    variants["+ 5 steps"] = {**variants["+ drafts, 70% right"], "action": {"steps": 5}}
    print(f"{plain.title} on {CHIP}: {images} images, {tokens:,} prompt tokens, times in ms\n")
    print(f"{'':22}{'vision':>8}{'prefill':>9}{'decode':>8}{'action':>8}{'total':>8}")
    for name, changes in variants.items():
        result = run(CHIP, with_phases(plain, **changes), precision=PRECISION)
        phases = [f"{phase.latency_ticks / 1e9:.0f}" for phase in result.phases]
        print(f"{name:22}{phases[0]:>8}{phases[1]:>9}{phases[2]:>8}{phases[3]:>8}{result.latency_s * 1e3:>8.0f}")


if __name__ == "__main__":
    main()
