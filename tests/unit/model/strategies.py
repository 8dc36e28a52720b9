"""Valid documents of every kind, members left out or stated at will, zeros and nulls among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from hypothesis import strategies as st

from vrata.model.retry import RetryCondition

Documents = st.SearchStrategy[dict[str, Any]]


def an_object(required: Mapping[str, Any] | None = None, /, **optional: st.SearchStrategy[Any]) -> Documents:
    """An object with the required members and any of the optional ones, which may be null as well."""
    members = {name.rstrip("_"): strategy | st.none() for name, strategy in optional.items()}
    return st.fixed_dictionaries(dict(required or {}), optional=members)


def some(strategy: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[list[Any]]:
    return st.lists(strategy, min_size=least, max_size=3)


u32 = st.integers(0, 2**32 - 1) | st.just(0)
flags = st.booleans()
ports = st.integers(1, 65535)
names = st.text("abcxyz-", min_size=1, max_size=5) | st.just("ö ☃")
ids = names.filter(lambda text: text not in (".", ".."))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
lines = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=5)
tokens = st.sampled_from(["x-a", "Accept", "X_1", "{{secret:value:h}}"])
patterns = tokens | st.sampled_from(["x-*", "*"])
hosts = st.sampled_from(["a", "a.example", "10.0.0.1", "::1", "{{secret:env:H}}"])
authorities = st.sampled_from(["a", "a.example:8443", "[::1]:80", "{{secret:env:H}}"])
paths = st.sampled_from(["", "/", "/a", "/a/b/", "{{secret:value:p}}"])
stated_paths = paths.filter(bool)
regexes = st.sampled_from(["", "a.*", "(?i)v[0-9]+", "/u/(?P<id>[^/]+)", "{{secret:value:r}}"])
expressions = st.sampled_from(["true", 'request.path == "/a"', "{{secret:value:c}}"])
claim_expressions = st.sampled_from(["true", "claims.exp > now", "{{secret:value:c}}"])
limits = st.sampled_from(["", "0", "0s", "1ms", "1m30s", "1.5h"])
intervals = st.sampled_from(["", "100ms", "90s"])
periods = st.sampled_from(["", "1ms", "90s"])
lifetimes = st.sampled_from(["", "1s", "1m30s", "1.5h"])
versions = st.sampled_from(["", "TLSv1_2"])
statuses = st.sampled_from([0, 200, 451, 599])
required_statuses = statuses.filter(bool)


def one_of(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["", *values])


def entity(required: Mapping[str, Any] | None = None, /, **optional: st.SearchStrategy[Any]) -> Documents:
    return an_object({"name": names, **(required or {})}, id=ids, **optional)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2)


matchers = an_object({"name": tokens}, value=st.sampled_from(["", "a", "[0-9]+"]), regex=flags)
edits = an_object({"key": tokens}, value=lines, append=flags)
cookies = an_object(name=tokens, ttl=lifetimes)
headers = an_object(
    requestHeadersToAdd=some(edits),
    requestHeadersToRemove=some(tokens),
    responseHeadersToAdd=some(edits),
    responseHeadersToRemove=some(tokens),
)
phases = an_object(
    requestHeaders=one_of("send", "skip"),
    responseHeaders=one_of("send", "skip"),
    requestBody=one_of("none", "streamed"),
    responseBody=one_of("buffered", "bufferedPartial"),
    maxBodyBytes=u32.map(lambda number: number // 2),
)
class_settings = st.dictionaries(texts, st.recursive(scalars, containers, max_leaves=4), max_size=2)
conditions = st.sampled_from(["skipWhen", "onlyWhen"]).flatmap(lambda name: an_object({}, **{name: some(expressions)}))
overrides = st.dictionaries(
    ids,
    conditions
    | an_object(
        disabled=flags,
        headers=headers,
        extProc=an_object(phases=phases, allowOnError=flags),
        python=an_object({"settings": class_settings}),
    ),
    max_size=2,
)
retries = an_object(
    {"attempts": u32},
    perAttemptTimeout=limits,
    on=some(st.sampled_from(get_args(RetryCondition))),
    retriableCodes=some(st.integers(100, 599)),
    backoff=an_object(base=periods, max=periods),
)

networks = st.sampled_from(["10.0.0.0/8", "10.1.2.3/8", "192.0.2.1", "fd00::/8", "::ffff:10.0.0.1"])

listeners = entity(
    {"port": ports},
    address=hosts | st.just(""),
    proxyProtocol=an_object({"trustedPeers": some(networks, least=1)}, mode=one_of("off", "required")),
    tls=an_object(
        {"cert": st.just("/c"), "key": st.just("{{secret:value:k}}")},
        minVersion=one_of("TLSv1_0", "TLSv1_2"),
        maxVersion=one_of("TLSv1_3"),
        certificates=st.lists(
            an_object({"cert": st.just("/c"), "key": st.just("/k")}, hostnames=st.just(["a.example", "*.b.example"])),
            max_size=1,
        ),
        strictSni=flags,
        clientAuth=an_object({"ca": st.just("/ca")}, mode=one_of("none", "optional", "require")),
    ),
    http2=flags,
    serverName=lines,
    trustedProxies=some(networks),
    maxRequestHeadersKB=u32,
    maxConnections=u32,
    timeouts=an_object(clientHeader=limits, clientRequest=limits, clientResponse=limits, idleBetweenRequests=limits),
    metrics=an_object(
        path=st.sampled_from(["", "/metrics", "/m/"]),
        collect=an_object(route=flags, destination=flags, endpoint=flags, middleware=flags, listener=flags),
        histograms=an_object(
            durationBuckets=st.sets(st.floats(0, 1e6) | st.integers(0, 9)).map(sorted),
            sizeBuckets=st.sets(st.integers(0, 10**6)).map(sorted),
        ),
    ),
    tracing=an_object(
        {"destinationId": st.just("collector")},
        path=st.sampled_from(["/v1/traces", "/otlp?token=x"]),
        headers=some(an_object({"name": tokens, "value": lines})),
        samplingRatio=st.floats(0, 1) | st.sampled_from([0, 1]),
        parentBased=flags,
        serviceName=st.sampled_from(["shop", ""]),
    ),
    proxyErrors=an_object(detail=one_of("minimal", "standard", "full")),
)

hash_policies = some(
    st.sampled_from(["header", "cookie", "sourceIP"]).flatmap(
        lambda name: st.fixed_dictionaries(
            {
                name: {"header": an_object({"name": tokens}), "cookie": cookies, "sourceIP": an_object(enabled=flags)}[
                    name
                ]
            }
        )
    )
)

destinations = entity(
    {"host": hosts, "port": ports},
    endpoints=some(an_object({"host": hosts, "port": ports})),
    options=an_object(
        timeouts=an_object(
            request=limits,
            connect=limits,
            dualStackFallback=limits,
            tlsHandshake=limits,
            responseHeader=limits,
            expectContinue=limits,
            idleConnection=limits,
        ),
        tls=an_object(
            {"cert": st.just("/c"), "key": st.just("/k")},
            mode=one_of("none", "tls", "mtls"),
            ca=st.just("/ca"),
            sni=hosts,
            subjectAltNames=some(hosts | st.just("spiffe://example.org/web")),
            minVersion=versions,
            maxVersion=versions,
        ),
        endpointBalancing=an_object(
            algorithm=one_of("ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "PEAK_EWMA", "RING_HASH", "MAGLEV", "STICKY"),
            ringHash=an_object(
                ringSize=an_object(min=st.integers(0, 2000), max=st.integers(2000, 2**64 - 1)), hashPolicy=hash_policies
            ),
            maglev=an_object(tableSize=st.sampled_from([0, 2, 251, 65537, 5000011]), hashPolicy=hash_policies),
            leastRequest=an_object(choiceCount=u32),
            sticky=an_object(cookie=cookies),
        ),
        circuitBreaker=an_object(
            maxConnections=u32,
            maxPendingRequests=u32,
            maxRequests=u32,
            maxRetries=u32,
            failureThreshold=u32,
            openDuration=periods,
        ),
        healthCheck=an_object(
            {"path": stated_paths}, interval=intervals, timeout=periods, unhealthyThreshold=u32, healthyThreshold=u32
        )
        | an_object({"type": st.just("tcp")}, interval=intervals, timeout=periods),
        outlierDetection=an_object(
            consecutive5xx=u32,
            consecutiveGatewayErrors=u32,
            interval=intervals,
            baseEjectionTime=periods,
            maxEjectionPercent=st.integers(0, 100),
        ),
        discovery=an_object({"type": st.just("kubernetes")}),
        http2=flags,
        maxConnsPerHost=u32,
        maxRequestsPerConnection=u32,
    ),
)

references = st.sampled_from([[100], [0], [50, 50], [100, 0], [20, 30, 50]]).map(
    lambda weights: [{"destinationId": f"d{index}", "weight": weight} for index, weight in enumerate(weights)]
)
path_choices = st.sampled_from([("path", paths), ("pathPrefix", paths), ("pathRegex", regexes)])
matches = path_choices.flatmap(
    lambda choice: an_object(
        {},
        **{choice[0]: choice[1]},
        methods=some(st.sampled_from(["GET", "post", "M-SEARCH"])),
        hostnames=some(hosts | st.just("*")),
        headers=some(matchers),
        queryParams=some(matchers),
        grpc=flags,
        cel=expressions | st.just(""),
    )
)
rewrites = an_object(path=paths, host=authorities) | an_object(
    pathRegex=an_object({"pattern": regexes.filter(bool)}, substitution=texts), autoHost=flags
)
actions: list[Documents] = [
    st.fixed_dictionaries(
        {
            "forward": an_object(
                {"destinations": references},
                destinationBalancing=an_object(
                    algorithm=one_of("WEIGHTED_RANDOM", "WEIGHTED_CONSISTENT_HASH", "STICKY"),
                    weightedConsistentHash=an_object(cookie=cookies),
                    sticky=an_object(cookie=cookies),
                ),
                timeouts=an_object(request=limits),
                retry=retries,
                rewrite=rewrites,
                mirror=an_object({"destinationId": ids}, percentage=st.integers(0, 100)),
                maxGrpcTimeout=limits,
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "redirect": an_object(
                url=st.sampled_from(["", "https://a.example/b"]),
                scheme=one_of("https"),
                host=one_of("a.example:8443"),
                path=paths,
                stripQuery=flags,
                code=st.sampled_from([0, 301, 302, 303, 307, 308]),
            )
        }
    ),
    st.fixed_dictionaries({"directResponse": an_object({"status": required_statuses}, body=texts)}),
]
routes = st.sampled_from(actions).flatmap(
    lambda action: st.builds(
        lambda document, chosen: {**document, **chosen},
        entity(match=matches, middlewareIds=some(ids), middlewareOverrides=overrides),
        action,
    )
)
groups = st.sampled_from([("pathPrefix", paths), ("pathRegex", regexes)]).flatmap(
    lambda choice: entity(
        {},
        **{choice[0]: choice[1]},
        routeIds=some(ids),
        hostnames=some(hosts),
        headers=some(matchers),
        middlewareIds=some(ids),
        middlewareOverrides=overrides,
        retryDefault=retries,
        includeAttemptCount=flags,
    )
)

settings: dict[str, Documents] = {
    "cors": an_object(
        allowOrigins=some(an_object({"value": st.sampled_from(["*", "https://a.example"])}, regex=st.just(False))),
        allowMethods=some(tokens),
        allowHeaders=some(tokens),
        exposeHeaders=some(tokens),
        maxAge=st.integers(0, 10**6),
    ),
    "jwt": st.sampled_from(
        [
            {"jwksInline": '{"keys": []}'},
            {"jwksPath": "/k", "jwksDestinationId": "d"},
            {"jwksInline": "{{secret:value:k}}"},
        ]
    ).flatmap(
        lambda source: an_object(
            {"issuer": names, **{name: st.just(value) for name, value in source.items()}},
            audiences=some(names),
            jwksRetrievalTimeout=periods,
            clockSkew=limits,
            forwardJwt=flags,
            claimToHeaders=some(an_object({"expr": st.just("claims.sub"), "header": tokens})),
            assertClaims=some(claim_expressions),
        )
    ),
    "extAuthz": an_object(
        {"destinationId": ids},
        mode=one_of("http", "grpc"),
        contract=st.just("vrata"),
        path=paths,
        decisionTimeout=periods,
        failureModeAllow=flags,
        includeBody=flags,
        maxBodyBytes=st.integers(0, 99),
        onCheck=an_object(forwardHeaders=some(tokens), injectHeaders=some(edits)),
        onAllow=an_object(copyToUpstream=some(patterns)),
        onDeny=an_object(copyToClient=some(patterns)),
    )
    | an_object({"destinationId": ids, "mode": st.just("grpc"), "contract": st.just("envoy")}),
    "extProc": an_object(
        {"destinationId": ids},
        mode=one_of("http", "grpc"),
        contract=st.just("vrata"),
        phaseTimeout=periods,
        phases=phases,
        allowOnError=flags,
        disableReject=flags,
        statusOnError=statuses,
        allowedMutations=an_object(allowHeaders=some(patterns), denyHeaders=some(patterns)),
        forwardRules=an_object(allowHeaders=some(patterns)),
        observeMode=an_object(enabled=flags, workers=st.integers(0, 99), queueSize=st.integers(0, 99)),
        metricsPrefix=texts,
    )
    | an_object(
        {"destinationId": ids, "contract": st.just("envoy")},
        phases=an_object(requestTrailers=one_of("send", "skip"), responseTrailers=one_of("send", "skip"))
        | an_object({"requestBody": st.just("fullDuplexStreamed"), "requestTrailers": st.just("send")}),
        allowModeOverride=flags,
        maxPhaseTimeout=limits,
        requestAttributes=some(st.sampled_from(["request.path", "source.port", "request.headers['x-a']"])),
        responseAttributes=some(st.sampled_from(["response.code", 'response.headers["x-a"]'])),
        metadata=an_object(forwardNamespaces=some(names), receiveNamespaces=some(names)),
    ),
    "rateLimit": an_object(
        requestsPerSecond=st.floats(-1, 0) | st.floats(0.01, 1e6) | st.integers(-1, 100),
        burst=st.integers(-1, 100),
        trustedProxies=some(networks),
        key=st.one_of(
            an_object({"header": tokens}), an_object({"claim": names}), an_object({"cel": expressions | st.just("[1]")})
        ),
        store=one_of("local", "redis"),
        onStoreFailure=one_of("local", "allow", "deny"),
        responseHeaders=flags,
    ),
    "headers": headers,
    "accessLog": an_object(
        {"path": names, "onResponse": an_object(fields=st.dictionaries(texts, texts, max_size=2))},
        json=flags,
        onRequest=an_object(fields=st.dictionaries(names, lines, max_size=2)),
    ),
    "inlineAuthz": an_object(
        {"rules": some(an_object({"cel": expressions, "action": st.sampled_from(["allow", "deny"])}), least=1)},
        defaultAction=one_of("allow", "deny"),
        denyStatus=statuses,
        denyBody=texts,
    ),
    "python": an_object(
        {"class": st.just("tenants:Tenants")},
        settings=class_settings,
        requestBody=one_of("none", "buffered"),
        responseBody=one_of("none", "buffered"),
        maxBodyBytes=st.integers(0, 10**6),
        timeout=periods,
        failureMode=one_of("deny", "allow"),
    ),
}
middlewares = st.sampled_from(sorted(settings)).flatmap(
    lambda type_: entity({"type": st.just(type_), type_: settings[type_]})
)
secrets = entity({"value": texts})

documents: dict[str, Documents] = {
    "listener": listeners,
    "destination": destinations,
    "route": routes,
    "group": groups,
    "middleware": middlewares,
    "secret": secrets,
}
