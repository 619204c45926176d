"""The demo: two people, a group, a thermometer, a phone that was away and an outsider, on a running stack, on the SDK.

`play` runs steps and knows what each needs; `steps_*` are the steps; `scene` holds the people and connections they act with;
`screen` shows it.
"""
