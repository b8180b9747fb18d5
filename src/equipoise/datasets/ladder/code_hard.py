"""Code tasks of levels 4 and 5, in the layout that `code_tasks` explains."""

# ruff: noqa: E501

from __future__ import annotations

LEVEL4 = """
roman(n)
converts an integer from 1 to 3999 to a Roman numeral
out = ""\\nfor v, s in ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")):\\n    out += s * (n // v)\\n    n %= v\\nreturn out
roman(4) == "IV" ; roman(1994) == "MCMXCIV" ; roman(3999) == "MMMCMXCIX"
balanced(text)
returns True if all brackets ()[]{} in text are balanced and nested properly
stack = []\\nfor c in text:\\n    if c in "([{":\\n        stack.append(c)\\n    elif c in ")]}":\\n        if not stack or "([{".index(stack.pop()) != ")]}".index(c):\\n            return False\\nreturn not stack
balanced("a(b[c]{})") ; not balanced("(]") ; not balanced("(") ; not balanced(")(") ; balanced("")
caesar(text, k)
shifts letters by k, keeps case and leaves other characters alone
out = ""\\nfor c in text:\\n    if c.isascii() and c.isalpha():\\n        base = 65 if c.isupper() else 97\\n        c = chr((ord(c) - base + k) % 26 + base)\\n    out += c\\nreturn out
caesar("xyz", 3) == "abc" ; caesar("Hi, Bob!", 1) == "Ij, Cpc!" ; caesar("b", -2) == "z"
run_length(text)
compresses "aaab" to "a3b1" by run-length encoding
out, i = "", 0\\nwhile i < len(text):\\n    j = i\\n    while j < len(text) and text[j] == text[i]:\\n        j += 1\\n    out += text[i] + str(j - i)\\n    i = j\\nreturn out
run_length("aaab") == "a3b1" ; run_length("") == "" ; run_length("abba") == "a1b2a1"
merge(a, b)
merges two sorted lists into one sorted list
return sorted(a + b)
merge([1, 4], [2, 3, 9]) == [1, 2, 3, 4, 9] ; merge([], [1]) == [1]
prime_factors(n)
returns the prime factors of n in ascending order with repeats
out, d = [], 2\\nwhile n > 1:\\n    while n % d == 0:\\n        out.append(d)\\n        n //= d\\n    d += 1\\nreturn out
prime_factors(12) == [2, 2, 3] ; prime_factors(97) == [97] ; prime_factors(1) == []
binary_search(items, x)
returns the index of x in a sorted list or -1
return items.index(x) if x in items else -1
binary_search([1, 3, 5], 5) == 2 ; binary_search([1, 3], 2) == -1 ; binary_search([], 1) == -1
deep_flatten(items)
flattens lists nested to any depth
out = []\\nfor x in items:\\n    if isinstance(x, list):\\n        out.extend(deep_flatten(x))\\n    else:\\n        out.append(x)\\nreturn out
deep_flatten([1, [2, [3, []]]]) == [1, 2, 3] ; deep_flatten([]) == []
top_words(text, n)
returns the n most frequent words, ties in alphabetical order
w = text.split()\\nreturn sorted(set(w), key=lambda x: (-w.count(x), x))[:n]
top_words("b a b c a d", 2) == ["a", "b"] ; top_words("z z y", 1) == ["z"]
rotate(items, k)
rotates a list right by k, where k may exceed its length
if not items:\\n    return []\\nk %= len(items)\\nreturn items[-k:] + items[:-k] if k else items[:]
rotate([1, 2, 3], 1) == [3, 1, 2] ; rotate([1, 2, 3], 4) == [3, 1, 2] ; rotate([], 2) == [] ; rotate([1, 2], 0) == [1, 2]
perfect(n)
returns True if n equals the sum of its proper divisors
return n > 1 and sum(d for d in range(1, n) if n % d == 0) == n
perfect(6) ; perfect(28) ; not perfect(12) ; not perfect(1)
parse_time(text)
converts "H:MM:SS" or "MM:SS" to seconds
total = 0\\nfor part in text.split(":"):\\n    total = total * 60 + int(part)\\nreturn total
parse_time("1:02:03") == 3723 ; parse_time("02:30") == 150 ; parse_time("00:00") == 0
snake(name)
converts camelCase to snake_case
return "".join("_" + c.lower() if c.isupper() else c for c in name)
snake("camelCase") == "camel_case" ; snake("aBigDog") == "a_big_dog" ; snake("x") == "x"
collatz(n)
returns the number of Collatz steps from n to 1
steps = 0\\nwhile n != 1:\\n    n = n // 2 if n % 2 == 0 else 3 * n + 1\\n    steps += 1\\nreturn steps
collatz(1) == 0 ; collatz(6) == 8 ; collatz(27) == 111
group_by_length(words)
returns a dict from word length to the list of words in input order
out = {}\\nfor w in words:\\n    out.setdefault(len(w), []).append(w)\\nreturn out
group_by_length(["a", "bb", "c"]) == {1: ["a", "c"], 2: ["bb"]} ; group_by_length([]) == {}
pascal(n)
returns row n of Pascal's triangle, row 0 being [1]
row = [1]\\nfor _ in range(n):\\n    row = [a + b for a, b in zip([0] + row, row + [0])]\\nreturn row
pascal(0) == [1] ; pascal(4) == [1, 4, 6, 4, 1]
spiral_sum(n)
returns the sum of both diagonals of an n by n matrix filled row by row with 1 to n*n, counting the centre once
m = [[i * n + j + 1 for j in range(n)] for i in range(n)]\\nreturn sum(m[i][j] for i in range(n) for j in range(n) if i == j or i + j == n - 1)
spiral_sum(3) == 25 ; spiral_sum(1) == 1 ; spiral_sum(2) == 10
common_prefix(words)
returns the longest common prefix of a list of words
if not words:\\n    return ""\\na, b = min(words), max(words)\\ni = 0\\nwhile i < len(a) and i < len(b) and a[i] == b[i]:\\n    i += 1\\nreturn a[:i]
common_prefix(["flow", "flower", "fly"]) == "fl" ; common_prefix(["a", "b"]) == "" ; common_prefix([]) == ""
missing(numbers)
finds the one missing number of a list holding 0 to n except one
return len(numbers) * (len(numbers) + 1) // 2 - sum(numbers)
missing([3, 0, 1]) == 2 ; missing([0]) == 1 ; missing([1]) == 0
valid_ip(text)
returns True for a valid IPv4 address (four numbers 0-255, no leading zeros)
p = text.split(".")\\nreturn len(p) == 4 and all(x.isdecimal() and str(int(x)) == x and int(x) < 256 for x in p)
valid_ip("1.2.3.4") ; not valid_ip("256.1.1.1") ; not valid_ip("01.2.3.4") ; not valid_ip("1.2.3") ; not valid_ip("a.b.c.d")
compose(f, g)
returns a function that computes f(g(x))
return lambda x: f(g(x))
compose(lambda x: x + 1, lambda x: x * 2)(5) == 11 ; compose(str, abs)(-3) == "3"
"""
LEVEL5 = """
lcs(a, b)
returns the length of the longest common subsequence of two strings
row = [0] * (len(b) + 1)\\nfor x in a:\\n    new = [0]\\n    for j, y in enumerate(b):\\n        new.append(row[j] + 1 if x == y else max(new[-1], row[j + 1]))\\n    row = new\\nreturn row[-1]
lcs("abcde", "ace") == 3 ; lcs("", "a") == 0 ; lcs("aggtab", "gxtxayb") == 4
edit_distance(a, b)
returns the Levenshtein distance of two strings
row = list(range(len(b) + 1))\\nfor i, x in enumerate(a, 1):\\n    new = [i]\\n    for j, y in enumerate(b, 1):\\n        new.append(min(new[-1] + 1, row[j] + 1, row[j - 1] + (x != y)))\\n    row = new\\nreturn row[-1]
edit_distance("kitten", "sitting") == 3 ; edit_distance("", "ab") == 2 ; edit_distance("a", "a") == 0
calc(text)
evaluates + - * / with precedence and parentheses on integers, without eval
toks = [c for c in text.replace("(", " ( ").replace(")", " ) ").replace("+", " + ").replace("-", " - ").replace("*", " * ").replace("/", " / ").split()]\\ndef atom():\\n    t = toks.pop(0)\\n    if t == "(":\\n        v = expr()\\n        toks.pop(0)\\n        return v\\n    return int(t)\\ndef term():\\n    v = atom()\\n    while toks and toks[0] in "*/":\\n        v = v * atom() if toks.pop(0) == "*" else v / atom()\\n    return v\\ndef expr():\\n    v = term()\\n    while toks and toks[0] in "+-":\\n        v = v + term() if toks.pop(0) == "+" else v - term()\\n    return v\\nreturn expr()
calc("2+3*4") == 14 ; calc("(2+3)*4") == 20 ; calc("10-4-3") == 3 ; calc("8/2/2") == 2 ; calc("2*(3+(4-1))") == 12
permutations(items)
returns all permutations of a list as lists in lexicographic order of positions, without imports
if not items:\\n    return [[]]\\nreturn [[x] + rest for i, x in enumerate(items) for rest in permutations(items[:i] + items[i + 1:])]
permutations([1, 2, 3]) == [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] ; permutations([]) == [[]]
coins(amount, values)
returns the fewest coins that make amount, or -1
best = [0] + [None] * amount\\nfor a in range(1, amount + 1):\\n    c = [best[a - v] for v in values if v <= a and best[a - v] is not None]\\n    best[a] = min(c) + 1 if c else None\\nreturn -1 if best[amount] is None else best[amount]
coins(6, [1, 3, 4]) == 2 ; coins(3, [2]) == -1 ; coins(0, [5]) == 0 ; coins(11, [1, 2, 5]) == 3
merge_intervals(spans)
merges overlapping or touching [start, end] lists and sorts them
out = []\\nfor a, b in sorted(spans):\\n    if out and a <= out[-1][1]:\\n        out[-1][1] = max(out[-1][1], b)\\n    else:\\n        out.append([a, b])\\nreturn out
merge_intervals([[3, 5], [1, 2], [2, 3]]) == [[1, 5]] ; merge_intervals([[1, 9], [2, 3], [11, 12]]) == [[1, 9], [11, 12]] ; merge_intervals([]) == []
islands(grid)
counts groups of 1s connected horizontally or vertically in a grid of 0s and 1s
left = {(i, j) for i, row in enumerate(grid) for j, v in enumerate(row) if v}\\ncount = 0\\nwhile left:\\n    count += 1\\n    todo = [left.pop()]\\n    while todo:\\n        i, j = todo.pop()\\n        for n in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):\\n            if n in left:\\n                left.remove(n)\\n                todo.append(n)\\nreturn count
islands([[1, 0], [0, 1]]) == 2 ; islands([[1, 1], [0, 1]]) == 1 ; islands([]) == 0 ; islands([[1, 0, 1], [1, 1, 1]]) == 1
n_queens(n)
returns the number of ways to place n non-attacking queens on an n by n board
def put(row, cols, d1, d2):\\n    if row == n:\\n        return 1\\n    return sum(put(row + 1, cols | {c}, d1 | {row + c}, d2 | {row - c}) for c in range(n) if c not in cols and row + c not in d1 and row - c not in d2)\\nreturn put(0, frozenset(), frozenset(), frozenset())
n_queens(1) == 1 ; n_queens(3) == 0 ; n_queens(4) == 2 ; n_queens(6) == 4
words_number(n)
spells an integer from 0 to 99 in English, like "forty-two"
ones = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()\\ntens = "twenty thirty forty fifty sixty seventy eighty ninety".split()\\nif n < 20:\\n    return ones[n]\\nreturn tens[n // 10 - 2] + ("-" + ones[n % 10] if n % 10 else "")
words_number(42) == "forty-two" ; words_number(0) == "zero" ; words_number(15) == "fifteen" ; words_number(90) == "ninety"
longest_unique(text)
returns the length of the longest substring without repeated characters
best, start, seen = 0, 0, {}\\nfor i, c in enumerate(text):\\n    if seen.get(c, -1) >= start:\\n        start = seen[c] + 1\\n    seen[c] = i\\n    best = max(best, i - start + 1)\\nreturn best
longest_unique("abcabcbb") == 3 ; longest_unique("") == 0 ; longest_unique("abba") == 2 ; longest_unique("pwwkew") == 3
topo(graph)
returns a topological order of a dict node -> list of nodes that must come before it, smallest ready node first
done = []\\nwhile len(done) < len(graph):\\n    ready = sorted(n for n in graph if n not in done and all(p in done for p in graph[n]))\\n    done.append(ready[0])\\nreturn done
topo({"c": ["a", "b"], "a": [], "b": ["a"]}) == ["a", "b", "c"] ; topo({}) == [] ; topo({2: [], 1: [2], 0: []}) == [0, 2, 1]
to_base(n, base)
converts an integer (maybe negative) to a string in a base from 2 to 16, lower case
if n == 0:\\n    return "0"\\nsign, n, out = ("-" if n < 0 else ""), abs(n), ""\\nwhile n:\\n    out = "0123456789abcdef"[n % base] + out\\n    n //= base\\nreturn sign + out
to_base(255, 16) == "ff" ; to_base(-5, 2) == "-101" ; to_base(0, 7) == "0"
knapsack(weights, values, limit)
returns the best total value of items within the weight limit, each used at most once
best = [0] * (limit + 1)\\nfor w, v in zip(weights, values):\\n    for c in range(limit, w - 1, -1):\\n        best[c] = max(best[c], best[c - w] + v)\\nreturn best[limit]
knapsack([1, 3, 4, 5], [1, 4, 5, 7], 7) == 9 ; knapsack([5], [10], 4) == 0 ; knapsack([1], [2], 5) == 2
life(grid)
returns the next Game of Life step of a grid of 0s and 1s with dead borders
h, w = len(grid), len(grid[0])\\ndef near(i, j):\\n    return sum(grid[a][b] for a in range(max(0, i - 1), min(h, i + 2)) for b in range(max(0, j - 1), min(w, j + 2))) - grid[i][j]\\nreturn [[int(near(i, j) == 3 or (grid[i][j] == 1 and near(i, j) == 2)) for j in range(w)] for i in range(h)]
life([[0, 1, 0], [0, 1, 0], [0, 1, 0]]) == [[0, 0, 0], [1, 1, 1], [0, 0, 0]] ; life([[1, 1], [1, 0]]) == [[1, 1], [1, 1]]
subsets_sum(numbers, target)
counts the subsets, chosen by position, whose sum is target
ways = [0]\\nfor n in numbers:\\n    ways += [s + n for s in ways]\\nreturn ways.count(target)
subsets_sum([1, 2, 3], 3) == 2 ; subsets_sum([], 0) == 1 ; subsets_sum([1, 1], 1) == 2 ; subsets_sum([-1, 1], 0) == 2
look_and_say(n)
returns the n-th look-and-say term, with term 1 being "1"
s = "1"\\nfor _ in range(n - 1):\\n    out, i = "", 0\\n    while i < len(s):\\n        j = i\\n        while j < len(s) and s[j] == s[i]:\\n            j += 1\\n        out += str(j - i) + s[i]\\n        i = j\\n    s = out\\nreturn s
look_and_say(1) == "1" ; look_and_say(4) == "1211" ; look_and_say(6) == "312211"
dijkstra(graph, a, b)
returns the shortest distance from a to b in a dict node -> {neighbour: weight}, or -1
dist, done = {a: 0}, set()\\nwhile set(dist) - done:\\n    u = min(set(dist) - done, key=dist.get)\\n    done.add(u)\\n    for v, w in graph.get(u, {}).items():\\n        dist[v] = min(dist.get(v, dist[u] + w), dist[u] + w)\\nreturn dist.get(b, -1)
dijkstra({"a": {"b": 5, "c": 1}, "c": {"b": 2}, "b": {}}, "a", "b") == 3 ; dijkstra({"a": {}, "b": {}}, "a", "b") == -1 ; dijkstra({"a": {}}, "a", "a") == 0
max_subarray(numbers)
returns the (start, end) indices, end exclusive, of the non-empty slice with the largest sum, the earliest and then shortest on ties
best = None\\nfor i in range(len(numbers)):\\n    for j in range(i + 1, len(numbers) + 1):\\n        s = sum(numbers[i:j])\\n        if best is None or s > best[0]:\\n            best = (s, i, j)\\nreturn best[1], best[2]
tuple(max_subarray([-2, 1, -3, 4, -1, 2, 1, -5, 4])) == (3, 7) ; tuple(max_subarray([-3, -1])) == (1, 2) ; tuple(max_subarray([5, 0])) == (0, 1)
wildcard(text, pattern)
returns True if pattern matches all of text, with ? for one and * for any number of characters, without imports
if not pattern:\\n    return not text\\nif pattern[0] == "*":\\n    return wildcard(text, pattern[1:]) or (bool(text) and wildcard(text[1:], pattern))\\nreturn bool(text) and pattern[0] in ("?", text[0]) and wildcard(text[1:], pattern[1:])
wildcard("hello", "h*o") ; wildcard("", "*") ; not wildcard("abc", "a?") ; wildcard("abc", "a?c") ; not wildcard("ab", "b*")
memoize(f)
returns a version of a one-argument function that never calls it twice for the same argument
cache = {}\\ndef g(x):\\n    if x not in cache:\\n        cache[x] = f(x)\\n    return cache[x]\\nreturn g
(lambda calls, g: (g(2), g(2), g(3), calls) == (4, 4, 9, [2, 3]))(*(lambda calls: (calls, memoize(lambda x: (calls.append(x), x * x)[1])))([])) ; (lambda calls, g: (g(1), g(1), len(calls)) == (None, None, 1))(*(lambda calls: (calls, memoize(lambda x: calls.append(x))))([]))
josephus(n, k)
returns the last survivor, numbered from 1, when every k-th of n people in a circle is removed
pos = 0\\nfor size in range(2, n + 1):\\n    pos = (pos + k) % size\\nreturn pos + 1
josephus(7, 3) == 4 ; josephus(1, 5) == 1 ; josephus(5, 2) == 3
"""
