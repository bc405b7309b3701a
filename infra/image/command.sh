#!/bin/sh
# `train` and `serve`, by the name under which this is called. SageMaker starts containers as root, which owns /opt/ml;
# the program runs as a user who may write only what a training job leaves there.
set -eu
name=$(basename "$0")
[ "$name" = train ] && module=scones.training || module=scones.serving
if [ "$(id -u)" = 0 ]; then
    if [ "$name" = train ]; then
        mkdir -p /opt/ml/model /opt/ml/output /opt/ml/checkpoints
        chown -R scones: /opt/ml/model /opt/ml/output /opt/ml/checkpoints
    fi
    exec setpriv --reuid=scones --regid=scones --clear-groups --no-new-privs -- python -m "$module"
fi
exec python -m "$module"
