"""Checkpoints of the original: into folders in Hub layout, and back.

`checkpoint_file` reads safely, `families` and `backbones` recognise, `config` and `heads` turn
shapes into configs, `convert` renames and accounts for every key, `folder` writes, `original` goes
back, `command` is `mtp-hf convert`, `decoder_reuse` starts finetuning from the multi-task model.
The tables of names are in `modeling/convert_*.py`.
"""
