#!/bin/sh
# As vmm.post-deploy.sh, and what methods need that the lock lacks.
# LOCKS 1cbbf923c123496f3d72926aa2d04f4b8f78eb022576cf1031d620571fde5474
set -eu
sh "$VMM_PROJECT/envs/install.sh" python envs/clustpy.lock
