"""What the operator configures: one frozen value made from the environment, or from a YAML file, and `--set`.

`zdm.config` is the public face. In here: `keys` the table of all keys, `sources` where values come from, `literals` how
texts become values, `rules` what is refused and in which order, `support` what is accepted but not yet done,
`reference` the printed forms.
"""
