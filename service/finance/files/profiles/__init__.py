"""The layouts that platforms write, a module each: headings, frames, states and totals."""

from service.finance.files.profiles.alipay import ALIPAY
from service.finance.files.profiles.payout import PAYOUT
from service.finance.files.profiles.profile import Profile, ProfileName
from service.finance.files.profiles.unionpay import UNIONPAY
from service.finance.files.profiles.wechat import WECHAT
from service.finance.files.profiles.yjhx import YJHX

PROFILES: dict[ProfileName, Profile] = {
    "wechat": WECHAT,
    "alipay": ALIPAY,
    "unionpay": UNIONPAY,
    "yjhx": YJHX,
    "payout": PAYOUT,
}
