"""The profile of a step: kinds are read from programs, and shares add up to the whole."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import profile, profile_jax

PROGRAM = """
HloModule jit_step

%fused_product (p: f32[4,4]) -> f32[4,4] {
  %p = f32[4,4]{1,0} parameter(0)
  ROOT %dot.1 = f32[4,4]{1,0} dot(%p, %p), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

ENTRY %main (x: f32[4,4]) -> f32[4,4] {
  %x = f32[4,4]{1,0} parameter(0)
  %conv.1 = (f32[4,4]{1,0}) custom-call(%x), custom_call_target="jaxvision_act_conv_forward"
  %conv.2 = (f32[4,4]{1,0}) custom-call(%x), custom_call_target="jaxvision_act_conv_backward"
  %fusion.3 = f32[4,4]{1,0} fusion(%x), kind=kCustom, calls=%fused_product
  %dynamic-slice_fusion.1 = f32[4]{0} fusion(%x), kind=kLoop, calls=%fused_slice
  %copy.7 = f32[4,4]{0,1} copy(%x)
  %while.1 = (f32[4,4]{1,0}) while(%x), condition=%c, body=%b
  ROOT %add_fusion = f32[4,4]{1,0} fusion(%x), kind=kLoop, calls=%fused_add
}
"""


def test_kinds_of_instructions():
    found = profile_jax.kinds_of(PROGRAM)
    assert found["conv.1"] == "convolutions"
    assert found["conv.2"] == "their gradients"
    assert found["fusion.3"] == found["dot.1"] == "products"
    assert found["dynamic-slice_fusion.1"] == "slices of a loop"
    assert found["copy.7"] == "copies and zeros"
    assert found["add_fusion"] == "the rest"
    assert "while.1" not in found


def test_a_program_of_jax_has_its_product_named():
    program = jax.jit(lambda x: jnp.sin(x @ x)).lower(jnp.ones((64, 64))).compile().as_text()
    assert "products" in profile_jax.kinds_of(program).values()


def test_shares_are_those_of_the_whole():
    kinds = dict.fromkeys(profile_jax.KINDS, 0.001)
    table = profile.table({"mlp": {"whole": 0.01, "kinds": kinds, "least": 0.002}})
    assert "| all | 10 (100%) |" in table
    assert "| products | 1 (10%) |" in table
    assert "| between | 4 (40%) |" in table
    assert "| multiplications, at the peak | 2 (20%) |" in table


def test_a_net_that_is_none_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["profile", "vgg"])
    with pytest.raises(SystemExit, match="2"):
        profile.main()
    assert "vgg is none of resnet20" in capsys.readouterr().err
