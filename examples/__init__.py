"""Projects that were not written for this one: each module imports torch and Lightning only, and is named in YAML files of conf/."""
