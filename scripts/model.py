# SPDX-License-Identifier: MIT OR GPL-2.0-only
"""
The model checker, for scripts/proof: build it, its twins (tests/model/twins.txt) and the models for
spin; run them side by side, say how each went, and give rows for the table.

What is built is in build-model/.
"""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import time

BUILD = 'build-model'
FLAGS = ['-std=gnu11', '-O3', '-g', '-fno-strict-aliasing', '-Wall', '-Wextra', '-Wno-unused']
LINK = ['-no-pie', '-Wl,--wrap=bma_meta_alloc,--wrap=bma_meta_free,--wrap=bma_meta_free_list']
TWINS = 'tests/model/twins.txt'
# Seconds of a CPU: a twin that needs more within one bound has not failed.
TWIN_SECONDS = os.environ.get('TWIN_SECONDS', '240')
# And by the clock, in all its bounds.
TWIN_PATIENCE = 900
# Of the time, seconds of a CPU, that a scenario gets: first so much, so that those that end soon do; then
# an equal part of what is left, of which a part is for executions by chance.
FIRST_SECONDS = 30
CHANCE = 1 / 6
WORKERS = os.cpu_count()


def run(*args, **kwargs):
    return subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace', **kwargs)


def must(*args):
    done = run(*args)
    if done.returncode:
        raise RuntimeError(f'{" ".join(args)}\n{done.stdout}')


def compiled(path, directory, includes):
    """The object of @path, made with @includes before the tree's own."""
    obj = f'{directory}/{path.replace("/", "_")}.o'
    must(os.environ.get('CC', 'gcc'), *FLAGS, *[f'-I{i}' for i in includes], '-Iinclude', '-Icore',
         '-Ihome', '-Ihome/model', '-Itests/model', '-c', path, '-o', obj)
    return obj


def sources():
    return glob.glob('core/*.c') + glob.glob('home/model/*.c')


def programs():
    return sorted(glob.glob('tests/model/test_*.c') + glob.glob('tests/model/seed/*.c'))


def name_of(program):
    return re.sub(r'^test_', '', os.path.basename(program)[:-2])


def link(objects, out):
    must(os.environ.get('CC', 'gcc'), *LINK, *objects, '-o', out)


def build():
    """Object of each source, and each program."""
    os.makedirs(BUILD, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        paths = sources() + programs()
        objects = dict(zip(paths, pool.map(lambda p: compiled(p, BUILD, []), paths)))
    for program in programs():
        link([objects[p] for p in sources()] + [objects[program]], f'{BUILD}/{name_of(program)}')
    return objects


# --- twins -------------------------------------------------------------------------------------------

class Twin:
    def __init__(self, name):
        self.name, self.file, self.program, self.scenario = name, None, None, None
        self.hunks, self.options = [], []


def twins():
    """Each: `twin NAME`, `file PATH`, `run PROGRAM: SCENARIO`, perhaps `options ...`, then -/+ lines."""
    found = []
    for line in open(TWINS):
        line = line.rstrip('\n')
        word, _, rest = line.partition(' ')
        if word == 'twin':
            found.append(Twin(rest))
        elif word == 'file':
            found[-1].file = rest
        elif word == 'run':
            found[-1].program, _, found[-1].scenario = rest.partition(': ')
        elif word == 'options':
            found[-1].options = rest.split()
        elif line[:1] == '-':
            if not found[-1].hunks or found[-1].hunks[-1][1]:
                found[-1].hunks.append(('', ''))
            found[-1].hunks[-1] = (found[-1].hunks[-1][0] + line[1:] + '\n', '')
        elif line[:1] == '+':
            old, new = found[-1].hunks[-1]
            found[-1].hunks[-1] = (old, new + line[1:] + '\n')
        elif line and line[0] not in '#|':
            sys.exit(f'{TWINS}: what is "{line}"?')
    return found


def patched(twin, directory):
    """A copy of the twin's file with its lines in place of those that are there exactly once."""
    text = open(twin.file).read()
    for old, new in twin.hunks:
        if text.count(old) != 1:
            raise RuntimeError(f'{TWINS}: this is {text.count(old)} times in {twin.file}:\n{old}')
        text = text.replace(old, new)
    path = f'{directory}/{twin.file}'
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        f.write(text)
    return path


def build_twin(twin, objects):
    directory = f'{BUILD}/twin/{re.sub(r"[^A-Za-z0-9]+", "-", twin.name)}'
    shutil.rmtree(directory, ignore_errors=True)
    path = patched(twin, directory)
    program = next(p for p in programs() if name_of(p) == twin.program)
    needed = sources() + [program]
    if twin.file in needed:
        mine = {twin.file: compiled(path, directory, [os.path.dirname(twin.file)])}
    else:       # something that is included: everything sees it, and it what is beside it
        for beside in glob.glob(f'{os.path.dirname(twin.file)}/*.[ch]'):
            if beside != twin.file:
                shutil.copy(beside, os.path.dirname(path))
        mine = {p: compiled(p, directory, [f'{directory}/include', f'{directory}/home']) for p in needed}
    link([mine.get(p, objects[p]) for p in needed], f'{directory}/{twin.program}')
    return f'{directory}/{twin.program}'


def run_twin(twin, objects):
    try:
        out = run(build_twin(twin, objects), '--proof', '--seconds', TWIN_SECONDS,
                  *([] if '--bound' in twin.options else ['--deepen']),
                  *twin.options, twin.scenario, timeout=TWIN_PATIENCE).stdout
    except (RuntimeError, subprocess.TimeoutExpired) as complaint:
        return None, str(complaint)
    found = re.search(r'^NOT ok: .*?: (.*) \(execution (\d+),(.*)\)$', out, re.M)
    return found, out



def check_places(words):
    """Twins whose lines are not in their file exactly once."""
    good = True
    for twin in chosen_twins(words):
        text = open(twin.file).read()
        for old, _ in twin.hunks:
            if text.count(old) != 1:
                print(f'{TWINS}: {twin.name}: this is {text.count(old)} times in {twin.file}:\n{old}')
                good = False
    return good


def chosen_twins(words):
    return [t for t in twins() if not words or any(w in t.name for w in words)]


def side_by_side(todo, work):
    """Results of work(*t) for each t of @todo as they come: how many are left, t, result."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        running = {pool.submit(work, *t): t for t in todo}
        left = len(todo)
        for done in concurrent.futures.as_completed(running):
            left -= 1
            yield left, running[done], done.result()


def check_twins(objects, words):
    """Rows, and whether each twin was found."""
    todo, rows, good = [(twin, objects) for twin in chosen_twins(words)], [], True
    for left, (twin, _), (found, out) in side_by_side(todo, run_twin):
        if found:
            execution, bound, verdict = found.group(2), found.group(3).strip(), f'found: {found.group(1)}'
            print(f'ok: twin {twin.name}: execution {execution}: {found.group(1)} ({left} left)', flush=True)
        else:
            execution, bound, verdict = '-', '', 'NOT FOUND'
            print(f'NOT ok: twin {twin.name} does not fail\n{out}', flush=True)
            good = False
        rows.append((f'must fail: {twin.name}', execution, bound, verdict))
    return rows, good


# --- scenarios ---------------------------------------------------------------------------------------

def scenarios(words):
    return [(f'{BUILD}/{name_of(program)}', scenario) for program in programs()
            for scenario in run(f'{BUILD}/{name_of(program)}', '--list').stdout.splitlines()
            if not words or any(w in scenario or w == name_of(program) for w in words)]


def explore(path, scenario, seconds, *options):
    out = run(path, '--proof', '--seconds', f'{seconds:.1f}', *options, scenario).stdout
    print(out, end='', flush=True)
    return out


def is_unfinished(out):
    return re.search(r': out of time$', out, re.M)


def rows_of(path, scenario, out):
    name = f'{os.path.basename(path)}: {scenario}'
    oks = re.findall(r'^ok: .*?: (\d+) executions, (\d+) states,(.*): ([^:]*)$', out, re.M)
    if not oks or 'NOT ok: ' in out:
        return [(name, '-', '', 'FAILED')]
    name = re.sub(r'^(.*?)must fail: ', r'must fail: \1', name)
    # Of bounds that have ended the table has the last; what was said on the way has all.
    ended = [ok for ok in oks if ok[3] == 'all'][-1:]
    return [(name,
             f'{executions} ({states} states)' if states != '0' else executions, bound.strip(), verdict)
            for executions, states, bound, verdict in ended + [ok for ok in oks if ok[3] != 'all']]


def check_scenarios(words, until):
    """Rows, and whether none fails; it goes on until about @until."""
    todo = scenarios(words)
    first = min(FIRST_SECONDS, (until - time.monotonic()) * WORKERS / (2 * len(todo) or 1))
    outs = {}
    for left, key, out in side_by_side([(*t, max(first, 1)) for t in todo], explore):
        outs[key[:2]] = out
    again = [t for t in todo if is_unfinished(outs[t])]
    begun = 0

    def longer(path, scenario):
        nonlocal begun
        left = len(again) - begun
        begun += 1
        seconds = (until - time.monotonic()) * WORKERS / left
        if seconds * (1 - CHANCE) < first:      # less than it has had
            return ''
        return (explore(path, scenario, seconds * (1 - CHANCE), '--deepen') +
                explore(path, scenario, seconds * CHANCE, '--random', str(10 ** 9), '--depth', '4'))

    print(f'{len(todo) - len(again)} of {len(todo)} scenarios have ended; on with the others', flush=True)
    for left, key, out in side_by_side(again, longer):
        # A failure stays one.
        outs[key] = out or outs[key]
        print(f'({left} scenarios left, {max(until - time.monotonic(), 0):.0f} s)', flush=True)
    rows = [row for t in todo for row in rows_of(*t, outs[t])]
    return rows, bool(todo) and not any(row[3] == 'FAILED' for row in rows)


# --- models for spin ---------------------------------------------------------------------------------

def check_spin():
    """Rows, and whether all is right: each model says which of its variants must fail."""
    rows, good = [], True
    for model in sorted(glob.glob('tests/model/seed/*.pml')):
        variants = re.findall(r'^ \* variant (\w+): (\w+): (.*)$', open(model).read(), re.M)
        for name, expect, what in variants:
            directory = f'{BUILD}/spin/{name}'
            os.makedirs(directory, exist_ok=True)
            here = os.getcwd()
            out = run('sh', '-c', f'cd {directory} && spin -D{name} -a {here}/{model} && '
                      'gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m100000')
            found = re.search(r'errors: (\d+)', out.stdout)
            states = re.search(r'^\s*([\d.e+]+) states, stored', out.stdout, re.M)
            ok = found and (found.group(1) != '0') == (expect == 'fails')
            good &= bool(ok)
            verdict = ('found' if expect == 'fails' else 'none fails') if ok else 'WRONG'
            print(f'{"ok" if ok else "NOT ok"}: spin {name}: {what}: {verdict}')
            if not ok:
                print(out.stdout)
            rows.append((f'spin {"must fail: " if expect == "fails" else ""}{what}',
                         f'{states.group(1) if states else "?"} states', 'all', verdict))
    return rows, good
