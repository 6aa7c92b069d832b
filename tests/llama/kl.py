"""Mean Kullback-Leibler divergence of two sets of logits, in nats: python3 kl.py NAME WANTED.npy GOT.f32 [LIMIT]; exit 1 above LIMIT."""
import sys

import numpy as np


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


name, wanted, got = sys.argv[1:4]
p = log_softmax(np.load(wanted))
q = np.fromfile(got, np.float32)
if q.size != p.size:
    sys.exit(f"{name}: {q.size} logits from llama.cpp, {p.size} from vl2")
q = log_softmax(q.reshape(p.shape))
kl = (np.exp(p) * (p - q)).sum(axis=1)
same = (p.argmax(axis=1) == q.argmax(axis=1)).mean()
entropy = -(np.exp(p) * p).sum(axis=1).mean()
print(f"| {name} | {kl.mean():.2e} | {kl.max():.2e} | {100 * same:.1f} % | {entropy:.2f} nats |", flush=True)
sys.exit(len(sys.argv) > 4 and not kl.mean() <= float(sys.argv[4]))
