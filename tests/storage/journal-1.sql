BEGIN TRANSACTION;
CREATE TABLE decisions (
    epoch INTEGER NOT NULL REFERENCES runs,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (epoch, seq)
) STRICT;
INSERT INTO "decisions" VALUES(199848,1,1795643873007036511,'{"seq":1,"at":1795643873007036511,"requests":[{"type":"Ask","what":"time","instrument":null,"order":null,"since":null},{"type":"Ask","what":"instruments","instrument":null,"order":null,"since":null}],"notes":[{"kind":"state","text":"waiting for answers of the venue","symbol":null}],"orders":[],"wake_at":1795643888007036511,"remember":false}');
INSERT INTO "decisions" VALUES(199848,8,1795643873017158806,'{"seq":8,"at":1795643873017158806,"requests":[],"notes":[{"kind":"state","text":"stream public is up","symbol":null}],"orders":[],"wake_at":1795643888010280632,"remember":false}');
INSERT INTO "decisions" VALUES(199848,12,1795643873020548614,'{"seq":12,"at":1795643873020548614,"requests":[{"type":"Ask","what":"mode","instrument":null,"order":null,"since":null},{"type":"Ask","what":"account","instrument":null,"order":null,"since":null},{"type":"Ask","what":"positions","instrument":null,"order":null,"since":null},{"type":"Ask","what":"orders","instrument":null,"order":null,"since":null}],"notes":[{"kind":"state","text":"stream private is up","symbol":null}],"orders":[],"wake_at":1795643888010280632,"remember":false}');
INSERT INTO "decisions" VALUES(199848,25,1795643873027325607,'{"seq":25,"at":1795643873027325607,"requests":[],"notes":[{"kind":"state","text":"stream market is up","symbol":null}],"orders":[],"wake_at":1795643888010280632,"remember":false}');
INSERT INTO "decisions" VALUES(199848,29,1795643873027982948,'{"seq":29,"at":1795643873027982948,"requests":[],"notes":[{"kind":"hold","text":"waiting for confirmation or cool-down: largest drift 15.0% (214% of its band)","symbol":null},{"kind":"state","text":"holding","symbol":null}],"orders":[],"wake_at":1795643876027982948,"remember":false}');
INSERT INTO "decisions" VALUES(199848,651,1795643876028494555,'{"seq":651,"at":1795643876028494555,"requests":[{"type":"Place","order":{"id":"ttde4a7c000000015","instrument":0,"symbol":"BTCUSDT","side":"net","lots":-377,"ticks":768344,"style":"ioc","reduce":true,"created_at":1795643876028494555,"expires_at":1795643879028494555,"value":29113.6029946528,"state":"sent","venue_order":null,"filled_lots":0,"ended":null}}],"notes":[{"kind":"trigger","text":"correcting: BTCUSDT drifted +14.9%, its band is ±7.0%","symbol":null},{"kind":"plan","text":"sell 0.377 BTC (29,114), buy 7.058 ETH (17,589), buy 65.04 SOL (6,017); cost about 29.72, benefit 180.35 in 7 days","symbol":null},{"kind":"order","text":"reduce: sell 0.377 BTC (29,114 USDT), limit 76834.40, cost about 16.03 USDT, order ttde4a7c000000015","symbol":"BTCUSDT"}],"orders":[{"id":"ttde4a7c000000015","instrument":0,"symbol":"BTCUSDT","side":"net","lots":-377,"ticks":768344,"style":"ioc","reduce":true,"created_at":1795643876028494555,"expires_at":1795643879028494555,"value":29113.6029946528,"state":"sent","venue_order":null,"filled_lots":0,"ended":null}],"wake_at":1795643876278494555,"remember":false}');
INSERT INTO "decisions" VALUES(199848,652,1795643876035476453,'{"seq":652,"at":1795643876035476453,"requests":[],"notes":[],"orders":[{"id":"ttde4a7c000000015","instrument":0,"symbol":"BTCUSDT","side":"net","lots":-377,"ticks":768344,"style":"ioc","reduce":true,"created_at":1795643876028494555,"expires_at":1795643879028494555,"value":29113.6029946528,"state":"done","venue_order":"10255512575","filled_lots":377,"ended":"filled"}],"wake_at":1795643876285476453,"remember":false}');
INSERT INTO "decisions" VALUES(199848,657,1795643876043511153,'{"seq":657,"at":1795643876043511153,"requests":[{"type":"Place","order":{"id":"ttde4a7c000000026","instrument":0,"symbol":"BTCUSDT","side":"net","lots":-14,"ticks":768344,"style":"ioc","reduce":true,"created_at":1795643876043511153,"expires_at":1795643879043511153,"value":1081.1417557696,"state":"sent","venue_order":null,"filled_lots":0,"ended":null}}],"notes":[{"kind":"fill","text":"sell 0.377 BTC at 77220.5","symbol":"BTCUSDT"},{"kind":"order","text":"reduce: sell 0.014 BTC (1,081 USDT), limit 76834.40, cost about 0.60 USDT, order ttde4a7c000000026","symbol":"BTCUSDT"}],"orders":[{"id":"ttde4a7c000000026","instrument":0,"symbol":"BTCUSDT","side":"net","lots":-14,"ticks":768344,"style":"ioc","reduce":true,"created_at":1795643876043511153,"expires_at":1795643879043511153,"value":1081.1417557696,"state":"sent","venue_order":null,"filled_lots":0,"ended":null}],"wake_at":1795643876293511153,"remember":false}');
INSERT INTO "decisions" VALUES(199848,661,1795643876046162920,'{"seq":661,"at":1795643876046162920,"requests":[],"notes":[],"orders":[{"id":"ttde4a7c000000026","instrument":0,"symbol":"BTCUSDT","side":"net","lots":-14,"ticks":768344,"style":"ioc","reduce":true,"created_at":1795643876043511153,"expires_at":1795643879043511153,"value":1081.1417557696,"state":"done","venue_order":"10255512576","filled_lots":14,"ended":"filled"}],"wake_at":1795643876296162920,"remember":false}');
INSERT INTO "decisions" VALUES(199848,664,1795643876047576450,'{"seq":664,"at":1795643876047576450,"requests":[{"type":"Place","order":{"id":"ttde4a7c000000037","instrument":1,"symbol":"ETHUSDT","side":"net","lots":7163,"ticks":250463,"style":"ioc","reduce":false,"created_at":1795643876047576450,"expires_at":1795643879047576450,"value":17850.46394003756,"state":"sent","venue_order":null,"filled_lots":0,"ended":null}},{"type":"Place","order":{"id":"ttde4a7c000000048","instrument":2,"symbol":"SOLUSDT","side":"net","lots":6731,"ticks":9299,"style":"ioc","reduce":false,"created_at":1795643876047576450,"expires_at":1795643879047576450,"value":6227.4302251502,"state":"sent","venue_order":null,"filled_lots":0,"ended":null}}],"notes":[{"kind":"order","text":"add: buy 7.163 ETH (17,850 USDT), limit 2504.630, cost about 9.86 USDT, order ttde4a7c000000037","symbol":"ETHUSDT"},{"kind":"order","text":"add: buy 67.31 SOL (6,227 USDT), limit 92.990, cost about 4.12 USDT, order ttde4a7c000000048","symbol":"SOLUSDT"}],"orders":[{"id":"ttde4a7c000000037","instrument":1,"symbol":"ETHUSDT","side":"net","lots":7163,"ticks":250463,"style":"ioc","reduce":false,"created_at":1795643876047576450,"expires_at":1795643879047576450,"value":17850.46394003756,"state":"sent","venue_order":null,"filled_lots":0,"ended":null},{"id":"ttde4a7c000000048","instrument":2,"symbol":"SOLUSDT","side":"net","lots":6731,"ticks":9299,"style":"ioc","reduce":false,"created_at":1795643876047576450,"expires_at":1795643879047576450,"value":6227.4302251502,"state":"sent","venue_order":null,"filled_lots":0,"ended":null}],"wake_at":1795643876297576450,"remember":false}');
INSERT INTO "decisions" VALUES(199848,666,1795643876050901922,'{"seq":666,"at":1795643876050901922,"requests":[],"notes":[{"kind":"fill","text":"sell 0.014 BTC at 77220.5","symbol":"BTCUSDT"}],"orders":[],"wake_at":1795643876300901922,"remember":false}');
INSERT INTO "decisions" VALUES(199848,667,1795643876052480898,'{"seq":667,"at":1795643876052480898,"requests":[],"notes":[],"orders":[{"id":"ttde4a7c000000037","instrument":1,"symbol":"ETHUSDT","side":"net","lots":7163,"ticks":250463,"style":"ioc","reduce":false,"created_at":1795643876047576450,"expires_at":1795643879047576450,"value":17850.46394003756,"state":"done","venue_order":"10255512577","filled_lots":7163,"ended":"filled"}],"wake_at":1795643876302480898,"remember":false}');
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL REFERENCES runs,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    state TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;
INSERT INTO "orders" VALUES('ttde4a7c000000015',199848,651,1795643876035476453,'done','{"id":"ttde4a7c000000015","instrument":0,"symbol":"BTCUSDT","side":"net","lots":-377,"ticks":768344,"style":"ioc","reduce":true,"created_at":1795643876028494555,"expires_at":1795643879028494555,"value":29113.6029946528,"state":"done","venue_order":"10255512575","filled_lots":377,"ended":"filled"}');
INSERT INTO "orders" VALUES('ttde4a7c000000026',199848,657,1795643876046162920,'done','{"id":"ttde4a7c000000026","instrument":0,"symbol":"BTCUSDT","side":"net","lots":-14,"ticks":768344,"style":"ioc","reduce":true,"created_at":1795643876043511153,"expires_at":1795643879043511153,"value":1081.1417557696,"state":"done","venue_order":"10255512576","filled_lots":14,"ended":"filled"}');
INSERT INTO "orders" VALUES('ttde4a7c000000037',199848,664,1795643876052480898,'done','{"id":"ttde4a7c000000037","instrument":1,"symbol":"ETHUSDT","side":"net","lots":7163,"ticks":250463,"style":"ioc","reduce":false,"created_at":1795643876047576450,"expires_at":1795643879047576450,"value":17850.46394003756,"state":"done","venue_order":"10255512577","filled_lots":7163,"ended":"filled"}');
INSERT INTO "orders" VALUES('ttde4a7c000000048',199848,664,1795643876047576450,'sent','{"id":"ttde4a7c000000048","instrument":2,"symbol":"SOLUSDT","side":"net","lots":6731,"ticks":9299,"style":"ioc","reduce":false,"created_at":1795643876047576450,"expires_at":1795643879047576450,"value":6227.4302251502,"state":"sent","venue_order":null,"filled_lots":0,"ended":null}');
CREATE TABLE runs (
    epoch INTEGER PRIMARY KEY,
    started_at INTEGER NOT NULL,
    mode TEXT NOT NULL,
    version TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    config TEXT NOT NULL
) STRICT;
INSERT INTO "runs" VALUES(199848,1795643872986600715,'live','0.1.0','d13f013179621da40ab3fe172a78e2547bf0194ca2750f1205892fbd6b6aa5a7','mode = "live"
state = "/var/lib/trimtab"
pairs = []

[account]
venue = "binance"
key = "env:TRIMTAB_DEMO_KEY"
secret = "env:TRIMTAB_DEMO_SECRET"
rest_url = "http://127.0.0.1:44717"
stream_url = "ws://127.0.0.1:44717"

[targets]
leverage = 3.0
leverage_mode = "constant"
basis = "notional"
# utilisation is not set
freed = "pro rata"
boost = 1.25

[targets.weights]
BTCUSDT = 0.5
ETHUSDT = 0.3
SOLUSDT = 0.2

[targets.baskets]

[targets.strategies]

[bands]
tolerance = 0.07
# relative is not set
# portfolio is not set
# tracking is not set
# leverage is not set
hedge = 0.05
strategy = 0.07
destination = "optimal"
landing = 0.75

[triggers]
confirm_s = 3.0
cool_down_s = 3.0
rearm = 0.75
schedule = []
blackout = []
funding_blackout_s = 0.0
cash_flow = 0.01

[limits]
leverage = 5.0
asset_share = 1.0
maintenance = 0.5
liquidation_distance = 0.11
# order_notional is not set
turnover_per_day = 100.0
orders_per_minute = 600
data_age_s = 5.0
price_gap = 0.1
# kill_file is not set

[costs]
# maker is not set
# taker is not set

[economy]
risk_aversion = 3.0
payback_days = 7.0
correlation_trust = 0.7

[execution]
style = "taker"
slippage = 0.005
patience_s = 10.0
request_life_s = 3.0
# leverage is not set

[funding]
horizon_days = 7.0
enter = 0.05
exit = 0.025
cap = 0.25
hedges = []

[feed]
# file is not set
# listen is not set
# token is not set
longest_h = 168.0

[paper]
equity = 10000.0
maker = 0.0002
taker = 0.0005
leverage = 20
maintenance = 0.025

[paper.positions]
');
CREATE INDEX orders_unresolved ON orders (state) WHERE state <> 'done';
CREATE INDEX orders_by_age ON orders (epoch, seq);
COMMIT;
PRAGMA application_id = 1953655149;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
