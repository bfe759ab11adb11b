import subprocess

import pytest

from salt.callbacks.repository import is_tracked, repository_of


@pytest.fixture
def git(tmp_path, monkeypatch):
    """Run git in a repository with one commit."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b.c")
    folder = tmp_path / "repository"
    folder.mkdir()

    def run(*arguments):
        return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout

    run("init", "-q", "-b", "trunk")
    (folder / "code.py").write_text("one = 1\n")
    run("add", "code.py")
    run("commit", "-q", "-m", "first")
    run.folder = folder
    return run


def test_a_clean_repository_is_its_commit_and_branch(git):
    found = repository_of(git.folder)
    assert found.record() == {
        "directory": str(git.folder.resolve()),
        "commit": git("rev-parse", "HEAD").strip(),
        "branch": "trunk",
        "dirty": False,
    }


def test_the_patch_of_a_changed_one_brings_the_changes_back(git):
    (git.folder / "code.py").write_text("one = 2\n")
    (git.folder / "new.py").write_text("")
    found = repository_of(git.folder)
    assert found.is_dirty
    patch = found.patch()
    assert "# untracked, not kept: new.py" in patch
    git("checkout", "-q", "code.py")
    (git.folder.parent / "kept.patch").write_text(patch)
    git("apply", "../kept.patch")
    assert (git.folder / "code.py").read_text() == "one = 2\n"


def test_untracked_files_alone_do_not_make_it_dirty(git):
    (git.folder / "new.py").write_text("")
    assert not repository_of(git.folder).is_dirty


def test_a_huge_change_is_cut_and_says_so(git, monkeypatch):
    monkeypatch.setattr("salt.callbacks.repository.MOST", 100)
    (git.folder / "code.py").write_text("two = 2\n" * 1000)
    patch = repository_of(git.folder).patch()
    assert len(patch) < 500
    assert "this does not apply" in patch


def test_a_tag_is_set_once(git):
    found = repository_of(git.folder)
    found.tag("salt/run_1")
    assert git("tag").split() == ["salt/run_1"]
    with pytest.raises(ValueError, match="already exists"):
        found.tag("salt/run_1")


def test_a_folder_without_repository_has_none(tmp_path):
    assert repository_of(tmp_path) is None


def test_a_repository_without_commits_has_a_branch_only(tmp_path):
    subprocess.run(["git", "init", "-q", "-b", "trunk", str(tmp_path)], check=True)
    found = repository_of(tmp_path)
    assert (found.commit, found.branch, found.is_dirty) == ("", "trunk", False)


def test_a_package_that_only_lies_in_a_repository_is_not_part_of_it(git):
    (git.folder / "installed.py").write_text("")
    assert is_tracked(git.folder / "code.py")
    assert not is_tracked(git.folder / "installed.py")


def test_without_git_there_is_no_repository(git, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert repository_of(git.folder) is None
