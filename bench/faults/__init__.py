"""What clients notice when one of three backends fails, behind Vrata and behind its peers with equivalent settings.

A *trial* is one *proxy* and one *fault*: an open-loop *load* (each request has its time, whether the ones before it are
answered or not) runs through the proxy to three *backends*, each a process of its own; one of them is made to fail, and
later to serve again. A *tap* on the loopback interface sees what the proxy still sends to it. What the clients got and
what the tap saw become *findings*; the findings of all trials are a table and a JSON document.

    python -m bench.faults [--faults kill,hang] [--proxies vrata,nginx]

The *tail* is another use of the same load and backends: response times by balancing algorithm while one endpoint is
slow.
"""
