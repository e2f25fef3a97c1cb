import type { Translation } from "../../i18n/types";
import type { overview as english } from "../en/overview";

export const overview: Translation<typeof english> = {
  "overview.title": "Genel bakış",
  "overview.today": "Bugünün görevleri",
  "overview.today_detail": "Duruma göre; gün UTC gece yarısı başlar.",
  "overview.empty": "Bu projede henüz etkinlik yok",
  "overview.empty_detail": "Bir görev gönderin: yönlendirici modeli seçer, ajan görevi çalıştırır, denetçi yanıtı denetler.",
  "overview.approved": "Onay oranı",
  "overview.approved_detail": { one: "Denetlenen yanıtlardan denetçinin onayladıkları, son {count} gün", other: "Denetlenen yanıtlardan denetçinin onayladıkları, son {count} gün" },
  "overview.approved_trend": { one: "Onay oranı, son {count} gün", other: "Günlük onay oranı, son {count} gün" },
  "overview.spend": "Bugünkü harcama",
  "overview.spend_detail": "Yalnızca fiyatı bilinen çağrılar.",
  "overview.cache": { one: "{count} yanıt önbellekten", other: "{count} yanıt önbellekten" },
  "overview.cache_away": "Önbelleğe ulaşılamıyor: tasarruf bilinmiyor",
  "overview.saved": "{sum} tasarruf",
  "overview.local": "Çağrıların {share} kadarı yerel modellere yapıldı",
  "overview.no_calls": "Bugün model çağrısı yok",
  "overview.waiting": "İlgi bekleyenler",
  "overview.corrections": { one: "{count} örnek düzeltme bekliyor", other: "{count} örnek düzeltme bekliyor" },
  "overview.rejected": { one: "{count} reddedilen görev incelenecek", other: "{count} reddedilen görev incelenecek" },
  "overview.adapters": { one: "{count} adaptör onay bekliyor", other: "{count} adaptör onay bekliyor" },
  "overview.nothing_waits": "İlgi bekleyen bir şey yok.",
  "overview.health_ok": "Tüm bileşenler çalışıyor",
  "overview.health_degraded": "Kairos çalışıyor, ancak bir bileşen kullanılamıyor",
  "overview.health_down": "Gerekli bir bileşen kullanılamıyor",
};
