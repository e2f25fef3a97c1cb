"""The files of plugins, and the names of their modules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kairos.plugins.base_plugin import BasePlugin
from kairos.plugins.sources import classes, find, in_folder, load, of_file, unload
from tests.kit.plugins import plugin, put


def test_public_files_and_packages_are_sources(tmp_path: Path):
    put(
        tmp_path,
        {"b.py": "", "a/__init__.py": "", "_helper.py": "", ".hidden.py": "", "notes.txt": "", "tests/test_b.py": ""},
    )
    assert [source.label for source in in_folder(tmp_path)] == ["a/", "b.py"]


def test_missing_folder_has_no_sources(tmp_path: Path):
    assert in_folder(tmp_path / "none") == []


def test_module_names_are_distinct(tmp_path: Path):
    """Also if the files' names differ only in characters that a module name cannot contain."""
    put(tmp_path, {"my_one.py": "", "my-one.py": "", "my one.py": "", "my_one/__init__.py": "", "json.py": ""})
    names = [source.module for source in in_folder(tmp_path)]
    assert len(set(names)) == 5
    assert all(name.startswith("kairos_plugin_") and name.isidentifier() for name in names)
    assert "kairos_plugin_my_one" in names


def test_changed_file_is_imported_again_and_old_objects_keep_working(tmp_path: Path):
    file = tmp_path / "p.py"
    file.write_text(plugin("Old"))
    source = of_file(file)
    old = find(source, load(source), "Plugin", BasePlugin)()
    file.write_text(plugin("Newer"))
    new = find(source, load(source), "Plugin", BasePlugin)()
    assert (old.get_name(), new.get_name()) == ("Old", "Newer")
    unload(source)
    assert source.module not in sys.modules


def test_failed_import_leaves_no_module(tmp_path: Path):
    put(tmp_path, {"pack/__init__.py": "from . import inside\nraise ValueError\n", "pack/inside.py": ""})
    [source] = in_folder(tmp_path)
    with pytest.raises(ValueError):
        load(source)
    assert [name for name in sys.modules if name.startswith(source.module)] == []


def test_class_with_two_names_is_one_plugin(tmp_path: Path):
    file = tmp_path / "p.py"
    file.write_text(plugin("P") + "\nAlias = Plugin\n")
    source = of_file(file)
    assert len(list(classes(source, load(source)))) == 1
    unload(source)
