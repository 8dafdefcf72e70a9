"""GitHub's responses, in the shapes of its published OpenAPI schema."""

from typing import Any

from github_rules import Hub, Pull, Repo

Json = dict[str, Any]

_USER_URLS = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}
_REPO_URLS = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}
_COUNTS = (
    "forks_count",
    "stargazers_count",
    "watchers_count",
    "open_issues_count",
    "forks",
    "open_issues",
    "watchers",
)
_HAS = ("has_issues", "has_projects", "has_wiki", "has_discussions", "has_pages")


def user(hub: Hub, login: str) -> Json:
    """Return a user or an organization."""
    url = f"{hub.api}/users/{login}"
    return {
        "login": login,
        "id": sum(login.encode()),
        "node_id": f"U_{login}",
        "avatar_url": f"{hub.web}/avatars/{login}",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{hub.web}/{login}",
        **{name: url + path for name, path in _USER_URLS.items()},
        "type": "User",
        "site_admin": False,
    }


def repository(hub: Hub, repo: Repo) -> Json:
    """Return a repository as it is nested in other responses."""
    url, html = f"{hub.api}/repos/{repo.full_name}", f"{hub.web}/{repo.full_name}"
    return {
        "id": repo.id,
        "node_id": f"R_{repo.id}",
        "name": repo.name,
        "full_name": repo.full_name,
        "owner": user(hub, repo.owner),
        "private": False,
        "html_url": html,
        "description": None,
        "fork": False,
        "url": url,
        **{name: url + path for name, path in _REPO_URLS.items()},
        "git_url": f"git://{hub.web.partition('://')[2]}/{repo.full_name}.git",
        "ssh_url": f"git@127.0.0.1:{repo.full_name}.git",
        "clone_url": f"{html}.git",
        "svn_url": html,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        "size": 1,
        "default_branch": repo.default_branch,
        **dict.fromkeys(_COUNTS, 0),
        **dict.fromkeys(_HAS, False),
        "archived": repo.archived,
        "disabled": False,
        "visibility": "public",
        "pushed_at": hub.moment(),
        "created_at": hub.moment(),
        "updated_at": hub.moment(),
    }


def full_repository(hub: Hub, repo: Repo, login: str) -> Json:
    """Return a repository as the response to a request for it."""
    answer = {**repository(hub, repo), "subscribers_count": 0, "network_count": 0}
    answer |= {
        "allow_merge_commit": "merge" in repo.merge_methods,
        "allow_squash_merge": "squash" in repo.merge_methods,
        "allow_rebase_merge": "rebase" in repo.merge_methods,
        "allow_auto_merge": repo.allow_auto_merge,
        "delete_branch_on_merge": False,
    }
    if repo.reports_permissions:
        may_push = login in repo.writers
        answer["permissions"] = {
            "admin": False,
            "maintain": False,
            "push": may_push,
            "triage": may_push,
            "pull": True,
        }
    return answer


def label(hub: Hub, repo: Repo, name: str) -> Json:
    """Return a label of a repository."""
    return {
        "id": sum(name.encode()),
        "node_id": f"LA_{name}",
        "url": f"{hub.api}/repos/{repo.full_name}/labels/{name}",
        "name": name,
        "description": None,
        "color": "ededed",
        "default": False,
        "archived_at": None,
        "archived_by": None,
    }


def simple_pull(hub: Hub, repo: Repo, pull: Pull) -> Json:
    """Return a pull request as an item of a list."""
    url, html = f"{hub.api}/repos/{repo.full_name}", f"{hub.web}/{repo.full_name}/pull/{pull.number}"
    own, issue = f"{url}/pulls/{pull.number}", f"{url}/issues/{pull.number}"
    head_sha = repo.head_of(pull)
    urls = {
        "url": own,
        "html_url": html,
        "diff_url": f"{html}.diff",
        "patch_url": f"{html}.patch",
        "issue_url": issue,
        "commits_url": f"{own}/commits",
        "review_comments_url": f"{own}/comments",
        "review_comment_url": f"{url}/pulls/comments{{/number}}",
        "comments_url": f"{issue}/comments",
        "statuses_url": f"{url}/statuses/{head_sha}",
    }
    links = ("html", "issue", "commits", "review_comments", "review_comment", "comments", "statuses")
    return {
        **urls,
        "id": repo.id * 1000 + pull.number,
        "node_id": repo.node_id(pull),
        "number": pull.number,
        "state": pull.state,
        "locked": False,
        "title": pull.title,
        "user": user(hub, pull.author),
        "body": pull.body,
        "labels": [label(hub, repo, name) for name in pull.labels],
        "milestone": None,
        "created_at": pull.created_at,
        "updated_at": hub.moment(),
        "closed_at": pull.closed_at,
        "merged_at": pull.merged_at,
        "merge_commit_sha": pull.merge_commit,
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [user(hub, login) for login in pull.reviewers],
        "requested_teams": [team(hub, slug) for slug in pull.teams],
        "head": _end(hub, repo, pull.head, head_sha),
        "base": _end(hub, repo, pull.base, repo.tip(pull.base) or "0" * 40),
        "_links": {"self": {"href": own}, **{name: {"href": urls[f"{name}_url"]} for name in links}},
        "author_association": "MEMBER",
        "auto_merge": _auto_merge(hub, pull),
        "draft": pull.draft,
    }


def full_pull(hub: Hub, repo: Repo, pull: Pull, *, fresh: bool = False) -> Json:
    """Return a pull request as the response to a request for it; a fresh one is not yet known as mergeable."""
    state = "unknown" if fresh else repo.mergeable_state(pull)
    return {
        **simple_pull(hub, repo, pull),
        "merged": pull.merged_at is not None,
        "mergeable": None if state == "unknown" else state != "dirty",
        "rebaseable": None if state == "unknown" else state != "dirty",
        "mergeable_state": state,
        "merged_by": user(hub, pull.author) if pull.merged_at else None,
        "comments": 0,
        "review_comments": 0,
        "maintainer_can_modify": False,
        "commits": 1,
        "additions": 1,
        "deletions": 0,
        "changed_files": 1,
    }


def review(hub: Hub, repo: Repo, pull: Pull, login: str) -> Json:
    """Return an approving review."""
    own = f"{hub.api}/repos/{repo.full_name}/pulls/{pull.number}"
    html = f"{hub.web}/{repo.full_name}/pull/{pull.number}#pullrequestreview-1"
    return {
        "id": 1,
        "node_id": "PRR_1",
        "user": user(hub, login),
        "body": "",
        "state": "APPROVED",
        "html_url": html,
        "pull_request_url": own,
        "_links": {"html": {"href": html}, "pull_request": {"href": own}},
        "submitted_at": hub.moment(),
        "commit_id": repo.head_of(pull),
        "author_association": "MEMBER",
    }


def team(hub: Hub, slug: str) -> Json:
    """Return a team of the organization."""
    url = f"{hub.api}/organizations/1/team/1"
    return {
        "id": 1,
        "node_id": f"T_{slug}",
        "name": slug,
        "slug": slug,
        "description": None,
        "privacy": "closed",
        "notification_setting": "notifications_enabled",
        "permission": "push",
        "url": url,
        "html_url": f"{hub.web}/orgs/octo/teams/{slug}",
        "members_url": f"{url}/members{{/member}}",
        "repositories_url": f"{url}/repos",
        "type": "organization",
        "organization_id": 1,
        "parent": None,
    }


def _end(hub: Hub, repo: Repo, branch: str, commit: str) -> Json:
    return {
        "label": f"{repo.owner}:{branch}",
        "ref": branch,
        "sha": commit,
        "user": user(hub, repo.owner),
        "repo": repository(hub, repo),
    }


def _auto_merge(hub: Hub, pull: Pull) -> Json | None:
    if pull.auto_merge is None:
        return None
    return {
        "enabled_by": user(hub, pull.author),
        "merge_method": pull.auto_merge,
        "commit_title": None,
        "commit_message": None,
    }
